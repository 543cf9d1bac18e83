"""The equations that data is made for, one a folder."""
