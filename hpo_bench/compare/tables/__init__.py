"""What a person reads: tables and sentences, for the terminal and Markdown."""
