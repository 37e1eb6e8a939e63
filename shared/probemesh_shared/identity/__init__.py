"""Who somebody is: certificates, their names, the files that hold them, the tokens that lead to them."""
