"""Make golden cases of `tests/exchange_golden/`: a module a library, each with `cases`."""
