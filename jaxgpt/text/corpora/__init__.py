"""Where text comes from: files, folders, a hub; documents and columns."""
