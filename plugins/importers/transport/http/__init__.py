"""HTTP: what systems that are asked page by page have in common.

`client` asks and says what a refusal means, `auth` shows who is asking, `budget` keeps a rate that all workers share,
`shared` holds what they share, `paging` goes from page to page, `tls` decides whom to trust.
"""
