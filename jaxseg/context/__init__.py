"""Context layers aggregate information across the feature map; height and width stay."""
