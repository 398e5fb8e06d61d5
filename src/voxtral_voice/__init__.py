"""Voxtral Voice: speech in, speech out, with replies that start before the silence gets awkward."""

__version__ = "0.1.0"
