"""An image and a bundle to class probabilities and labels."""
