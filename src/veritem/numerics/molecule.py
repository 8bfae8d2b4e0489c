"""What a molecule of known weight takes of space."""

# Protein's partial specific volume of 0.73 mL/g (Matthews, J. Mol. Biol. 33 (1968) 491,
# doi:10.1016/0022-2836(68)90205-2).
MOLECULAR_VOLUME = 1.21  # Å³ per Da
