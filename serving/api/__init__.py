"""The service's contract: what each call takes and answers, errors, and the OpenAPI document made of them."""
