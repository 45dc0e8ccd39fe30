"""Questions about pictures, and their answers."""
