"""A sequence in, another sequence out: dates in words to ISO dates, and sums."""
