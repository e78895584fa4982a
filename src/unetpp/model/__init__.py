"""The network and what it is asked to do; Keras on any backend."""
