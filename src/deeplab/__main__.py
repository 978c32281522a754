"""``python -m deeplab``, the same as the command ``deeplab``."""

from deeplab.cli import main

if __name__ == "__main__":
    main()
