"""`python -m unetpp` is `unetpp`."""

from unetpp.app.cli import main

main()
