"""The offline training package: recipe -> examples -> loop -> card and weights."""
