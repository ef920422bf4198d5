"""The programs of the matrix: servers with every feature, and clients that try each of them."""
