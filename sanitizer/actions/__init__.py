"""What happens with a verdict: reports, manifests, copies."""
