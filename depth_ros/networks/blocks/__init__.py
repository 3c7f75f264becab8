"""Parts of networks and losses that several families share, or that are split off from the file of one family."""
