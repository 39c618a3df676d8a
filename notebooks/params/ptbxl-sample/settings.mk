SEEDS := 0 1 2  # with each of which every objective of Table 6 is trained
