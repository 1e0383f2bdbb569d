"""`python -m anmok`, as torchrun starts it."""

from anmok.cli import main

main()
