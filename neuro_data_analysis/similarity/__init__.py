"""Similarity of prototypes beside similarity of responses (Figure 3).

`montages` and `masks` say what is compared, `response_differences` how differently a site responds,
`tables` joins them. The networks that compare are `core.utils.scoring.perception`.
"""
