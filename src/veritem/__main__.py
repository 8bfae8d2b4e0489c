"""`python -m veritem`."""

from veritem.cli import main

if __name__ == "__main__":
    main()
