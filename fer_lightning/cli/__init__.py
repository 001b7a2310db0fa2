"""How a program starts: the command line, its help, its mistakes, a run that is continued."""
