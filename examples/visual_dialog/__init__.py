"""Questions about a picture whose answers depend on the turns before."""
