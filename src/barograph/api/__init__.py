"""The web server: routes over the views, guarded at its outermost layer.

`security` judges every request before anything else sees it; `routes` answers with documents of `barograph.views`;
`server` binds the port and stops cleanly.
"""
