"""Text as typed columns, whoever brings it: files in blocks, messages of a broker."""
