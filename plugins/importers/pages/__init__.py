"""Pages to keep or send, which the command line writes to a file and the web server shows."""
