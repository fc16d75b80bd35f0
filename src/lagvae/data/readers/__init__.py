"""One file for each kind of source that a user brings: what it holds, as Examples."""
