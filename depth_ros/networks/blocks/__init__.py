"""Parts of networks and losses: shared by several families, or split off from the module of one."""
