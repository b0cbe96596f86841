"""The one reader of tables: from a file, however it is packed, encoded and laid out, to cells, labels and splits."""
