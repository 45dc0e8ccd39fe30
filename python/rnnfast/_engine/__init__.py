"""What calls of the engine share: backends, checks of arguments, cells, options and threads."""
