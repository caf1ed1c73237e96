package order

import "penstock/view"

// The base names of the view's tables.
const (
	TableByID       = "order_by_id"        // one order: everything an order page needs
	TableByCustomer = "orders_by_customer" // a customer's orders of one year, newest first
)

// The columns, in both tables unless said otherwise. A column's comment names the events that write it.
const (
	colOrderID    = "order_id"    // key
	colCustomerID = "customer_id" // key of orders_by_customer; placed
	colYear       = "year"        // key of orders_by_customer: the UTC year of placed_at
	colPlacedAt   = "placed_at"   // key of orders_by_customer; placed

	colCurrency         = "currency"          // placed
	colTotalMinor       = "total_minor"       // placed
	colUnits            = "units"             // placed
	colLines            = "lines"             // placed
	colPayments         = "payments"          // paid
	colParcelsShipped   = "parcels_shipped"   // shipped
	colParcelsDelivered = "parcels_delivered" // delivered
	colRefunds          = "refunds"           // refunded
	colCancellations    = "cancellations"     // cancelled
	colAddress          = "address"           // placed, address_changed
)

// The user-defined types. Their fields stand in the order in which view.go writes and row.go reads them.
var (
	lineType = view.UserType("order_line",
		view.Field{Name: "sku", Type: view.Text},
		view.Field{Name: "name", Type: view.Text},
		view.Field{Name: "quantity", Type: view.Int},
		view.Field{Name: "unit_price_minor", Type: view.Bigint})
	paymentType = view.UserType("payment",
		view.Field{Name: "amount_minor", Type: view.Bigint},
		view.Field{Name: "method", Type: view.Text},
		view.Field{Name: "paid_at", Type: view.Timestamp})
	shipmentType = view.UserType("shipment",
		view.Field{Name: "carrier", Type: view.Text},
		view.Field{Name: "tracking", Type: view.Text},
		view.Field{Name: "units", Type: view.Int},
		view.Field{Name: "shipped_at", Type: view.Timestamp})
	refundType = view.UserType("refund",
		view.Field{Name: "amount_minor", Type: view.Bigint},
		view.Field{Name: "reason", Type: view.Text},
		view.Field{Name: "refunded_at", Type: view.Timestamp})
	cancellationType = view.UserType("cancellation",
		view.Field{Name: "reason", Type: view.Text},
		view.Field{Name: "cancelled_at", Type: view.Timestamp})
	addressType = view.UserType("address",
		view.Field{Name: "name", Type: view.Text},
		view.Field{Name: "street", Type: view.Text},
		view.Field{Name: "city", Type: view.Text},
		view.Field{Name: "postal_code", Type: view.Text},
		view.Field{Name: "country", Type: view.Text})
)

// orderColumns are the columns that both tables have outside their keys.
var orderColumns = []view.Column{
	{Name: colCurrency, Type: view.Text, Class: view.WriteOnce},
	{Name: colTotalMinor, Type: view.Bigint, Class: view.WriteOnce},
	{Name: colUnits, Type: view.Int, Class: view.WriteOnce},
	{Name: colLines, Type: view.MapOf(view.Text, lineType), Class: view.WriteOnce},
	{Name: colPayments, Type: view.MapOf(view.Text, paymentType), Class: view.WriteOnce},
	{Name: colParcelsShipped, Type: view.MapOf(view.Text, shipmentType), Class: view.WriteOnce},
	{Name: colParcelsDelivered, Type: view.MapOf(view.Text, view.Timestamp), Class: view.WriteOnce},
	{Name: colRefunds, Type: view.MapOf(view.Text, refundType), Class: view.WriteOnce},
	{Name: colCancellations, Type: view.MapOf(view.Text, cancellationType), Class: view.WriteOnce},
	{Name: colAddress, Type: addressType, Class: view.Revisable},
}

var byID = view.Table{
	Name:      TableByID,
	Partition: []view.KeyColumn{{Name: colOrderID, Type: view.UUID}},
	Columns: append([]view.Column{
		{Name: colCustomerID, Type: view.Text, Class: view.WriteOnce},
		{Name: colPlacedAt, Type: view.Timestamp, Class: view.WriteOnce},
	}, orderColumns...),
	Provenance: view.ProvenanceAll,
}

// byCustomer splits a customer's orders by year, so that no partition grows for as long as the customer buys.
var byCustomer = view.Table{
	Name:      TableByCustomer,
	Partition: []view.KeyColumn{{Name: colCustomerID, Type: view.Text}, {Name: colYear, Type: view.Int}},
	Clustering: []view.KeyColumn{
		{Name: colPlacedAt, Type: view.Timestamp, Descending: true},
		{Name: colOrderID, Type: view.UUID},
	},
	Columns:    orderColumns,
	Provenance: view.ProvenanceAll,
}
