"""The language server: what an editor asks of a program while it is being typed. Only `server` needs pygls."""
