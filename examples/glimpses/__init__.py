"""Glimpses at an image, one after the other, that read two digits."""
