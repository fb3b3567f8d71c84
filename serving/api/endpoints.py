"""The calls of the service, as they are documented."""

from __future__ import annotations

from typing import Final

from serving.api.customer_schemas import (
    AudiencesAnswer,
    CustomerAnswer,
    MembersAnswer,
    MembersRequest,
    PreviewAnswer,
    PreviewRequest,
    SegmentsAnswer,
    SegmentsRequest,
)
from serving.api.demand_schemas import AlertsAnswer, AlertsRequest, DemandAnswer, DemandRequest
from serving.api.item_schemas import ItemsAnswer, ItemSearch, ItemsRequest
from serving.api.merchandising_schemas import RulesAnswer, StockAnswer, StockRequest
from serving.api.openapi import Endpoint
from serving.api.release_schemas import ReleaseAnswer, ReleaseRequest
from serving.api.rights_schemas import ConsentAnswer, ConsentRequest, ErasureAnswer, ExportAnswer, ExportRequest
from serving.api.schemas import (
    CustomersAnswer,
    CustomersRequest,
    EventsAnswer,
    EventsRequest,
    RecommendAnswer,
    RecommendRequest,
    ReleasesAnswer,
)

CUSTOMER: Final = "/v1/customers/{user_id}"
AUDIENCE: Final = "/v1/audiences/{name}"
EXPORT: Final = "/v1/customers/{user_id}/export"
RELEASE: Final = "/v1/admin/release"
RULES: Final = "/v1/admin/rules"
STOCK: Final = "/v1/items/stock"
_WRONG: Final = (400, 413, 422)
_SHOWN: Final = ("app", "analyst", "admin")
_READ: Final = ("analyst", "admin")

ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/recommend",
        summary="What to show a user or a session, on a surface of the app",
        request=RecommendRequest,
        answer=RecommendAnswer,
        errors=(*_WRONG, 404, 409),
        roles=_SHOWN,
        lane="recommend",
    ),
    Endpoint(
        method="POST",
        path="/v1/events",
        summary="Send events; the next recommend call sees them",
        request=EventsRequest,
        answer=EventsAnswer,
        errors=_WRONG,
        roles=("app", "tracker", "admin"),
        lane="write",
    ),
    Endpoint(
        method="POST",
        path="/v1/consents",
        summary="A customer's yes or no to a purpose; the next answer follows it",
        request=ConsentRequest,
        answer=ConsentAnswer,
        errors=_WRONG,
        roles=("app", "admin"),
        lane="write",
    ),
    Endpoint(
        method="GET",
        path="/v1/customers",
        summary="Some customers with a history, or those whose ids begin alike",
        query=CustomersRequest,
        answer=CustomersAnswer,
        errors=(422,),
        roles=_READ,
        lane="lookup",
    ),
    Endpoint(
        method="GET",
        path="/v1/items",
        summary="Items by words of their ids and titles",
        query=ItemSearch,
        answer=ItemsAnswer,
        errors=(422,),
        roles=_SHOWN,
        lane="lookup",
    ),
    Endpoint(
        method="POST",
        path="/v1/items",
        summary="What is known of several items",
        request=ItemsRequest,
        answer=ItemsAnswer,
        errors=_WRONG,
        roles=_SHOWN,
        lane="lookup",
    ),
    Endpoint(
        method="GET",
        path=EXPORT,
        summary="All that is stored about a customer, for their right of access; who asked is recorded",
        query=ExportRequest,
        answer=ExportAnswer,
        errors=(404, 422),
        roles=("admin",),
        lane="bulk",
    ),
    Endpoint(
        method="GET",
        path=CUSTOMER,
        summary="A customer as they are now: profile, segments, tags, open triggers, cart and history",
        answer=CustomerAnswer,
        errors=(403, 404),
        roles=_SHOWN,
        lane="lookup",
    ),
    Endpoint(
        method="DELETE",
        path=CUSTOMER,
        summary="Forget a customer, in this release and all others",
        answer=ErasureAnswer,
        errors=(422,),
        roles=("admin",),
        lane="write",
    ),
    Endpoint(
        method="POST",
        path="/v1/segments",
        summary="Segments and tags of many customers",
        request=SegmentsRequest,
        answer=SegmentsAnswer,
        errors=_WRONG,
        roles=_READ,
        lane="bulk",
    ),
    Endpoint(
        method="GET",
        path="/v1/audiences",
        summary="The shop's audiences and their sizes",
        answer=AudiencesAnswer,
        roles=_READ,
        lane="lookup",
    ),
    Endpoint(
        method="POST",
        path="/v1/audiences/preview",
        summary="How many customers a rule means, before it is saved",
        request=PreviewRequest,
        answer=PreviewAnswer,
        errors=_WRONG,
        roles=_READ,
        lane="bulk",
    ),
    Endpoint(
        method="GET",
        path=AUDIENCE,
        summary="Members of an audience, page by page",
        query=MembersRequest,
        answer=MembersAnswer,
        errors=(404, 422),
        roles=_READ,
        lane="bulk",
    ),
    Endpoint(
        method="POST",
        path="/v1/demand",
        summary="Demand of items: quantiles by day, orders, and what another plan would sell",
        request=DemandRequest,
        answer=DemandAnswer,
        errors=(*_WRONG, 404),
        roles=_READ,
        lane="bulk",
    ),
    Endpoint(
        method="GET",
        path="/v1/demand/alerts",
        summary="What to order, protect, mark down or stock up on, and why",
        query=AlertsRequest,
        answer=AlertsAnswer,
        errors=(422,),
        roles=_READ,
        lane="lookup",
    ),
    Endpoint(
        method="GET",
        path="/v1/releases",
        summary="Which releases a recommend request may name",
        answer=ReleasesAnswer,
        roles=_READ,
        lane="lookup",
    ),
    Endpoint(
        method="GET",
        path=RELEASE,
        summary="Which release is served, which is being loaded, and what each worker holds",
        answer=ReleaseAnswer,
        errors=(409,),
        roles=("admin",),
        lane="lookup",
    ),
    Endpoint(
        method="POST",
        path=RELEASE,
        summary="Serve another release, in all workers at one instant, or go back",
        request=ReleaseRequest,
        answer=ReleaseAnswer,
        errors=(404, 409),
        roles=("admin",),
        lane="lookup",
    ),
    Endpoint(
        method="GET",
        path=RULES,
        summary="The merchandising rules and experiments that hold, and what is wrong with their files",
        answer=RulesAnswer,
        roles=_READ,
        lane="lookup",
    ),
    Endpoint(
        method="POST",
        path=STOCK,
        summary="Tell what is in stock; what is not disappears from the next answer on",
        request=StockRequest,
        answer=StockAnswer,
        errors=(*_WRONG, 409),
        roles=("admin",),
        lane="write",
    ),
)
