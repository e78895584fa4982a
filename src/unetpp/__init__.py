"""The nested U-Net (UNet++) in Keras 3: a folder of images and masks in, a model and labels out."""

__version__ = "0.1.0"
