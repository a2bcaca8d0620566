"""What editors and notebooks need: highlighting, the %%rnn cell magic, and what the names of a program mean."""
