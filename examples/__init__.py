"""Tasks for recurrent networks, one in each folder: `python -m examples` lists them."""
