"""What all pages of isograd share: colours for light and dark, type, tables, and how they print and fit a phone."""

from pathlib import Path

TEMPLATES = Path(__file__).parent
