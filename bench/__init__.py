"""Commands that print every number we publish: `python -m bench.NAME [--quick] [--json FILE] [--audio DIR]`."""
