"""Speed: what a scan costs, as ratios against other people's software and against what nobody can avoid."""
