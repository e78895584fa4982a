"""The older import path, from a clone: `from model.unetpp import UNetPP`."""
