ZOO={}
