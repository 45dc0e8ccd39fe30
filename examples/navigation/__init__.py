"""Language navigation: an instruction and a local view in, moves through unseen rooms out."""
