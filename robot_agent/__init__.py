"""A vision-language-action policy on a WidowX 250s that improves in the scene it stands in."""

__version__ = "0.1.0"
