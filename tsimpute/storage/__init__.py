"""Files and folders that are written all or not at all, and the plain data in them."""
