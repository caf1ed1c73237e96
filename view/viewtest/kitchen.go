package viewtest

import "penstock/view"

var (
	spice = view.UserType("spice",
		view.Field{Name: "name", Type: view.Text},
		view.Field{Name: "hot", Type: view.Boolean})
	dish = view.UserType("dish",
		view.Field{Name: "id", Type: view.UUID},
		view.Field{Name: "served_at", Type: view.Timestamp},
		view.Field{Name: "size", Type: view.TupleOf(view.Int, view.TupleOf(view.Bigint))},
		view.Field{Name: "spice", Type: spice})
)

// Kitchen is a table with everything a view may declare: keys of several types, one of them descending, and columns of
// every kind in both classes.
var Kitchen = view.Table{
	Name:      "kitchen",
	Partition: []view.KeyColumn{{Name: "house", Type: view.Text}, {Name: "room", Type: view.Bigint}},
	Clustering: []view.KeyColumn{
		{Name: "opened_at", Type: view.Timestamp, Descending: true},
		{Name: "id", Type: view.UUID},
		{Name: "floor", Type: view.Int},
		{Name: "indoors", Type: view.Boolean},
	},
	Columns:    kitchenColumns(),
	Provenance: view.ProvenanceAll,
}

func kitchenColumns() []view.Column {
	kinds := []view.Field{
		{Name: "boolean", Type: view.Boolean},
		{Name: "int", Type: view.Int},
		{Name: "bigint", Type: view.Bigint},
		{Name: "text", Type: view.Text},
		{Name: "timestamp", Type: view.Timestamp},
		{Name: "uuid", Type: view.UUID},
		{Name: "decimal", Type: view.Decimal},
		{Name: "user", Type: dish},
		{Name: "set_of_boolean", Type: view.SetOf(view.Boolean)},
		{Name: "set_of_int", Type: view.SetOf(view.Int)},
		{Name: "set_of_bigint", Type: view.SetOf(view.Bigint)},
		{Name: "set_of_text", Type: view.SetOf(view.Text)},
		{Name: "set_of_timestamp", Type: view.SetOf(view.Timestamp)},
		{Name: "set_of_uuid", Type: view.SetOf(view.UUID)},
		{Name: "set_of_decimal", Type: view.SetOf(view.Decimal)},
		{Name: "set_of_tuple", Type: view.SetOf(view.TupleOf(view.Int, view.Text))},
		{Name: "set_of_user", Type: view.SetOf(spice)},
		{Name: "map_of_text", Type: view.MapOf(view.Text, view.Text)},
		{Name: "map_of_bigint", Type: view.MapOf(view.Int, view.Bigint)},
		{Name: "map_of_boolean", Type: view.MapOf(view.Bigint, view.Boolean)},
		{Name: "map_of_int", Type: view.MapOf(view.Boolean, view.Int)},
		{Name: "map_of_uuid", Type: view.MapOf(view.Timestamp, view.UUID)},
		{Name: "map_of_timestamp", Type: view.MapOf(view.UUID, view.Timestamp)},
		{Name: "map_of_decimal", Type: view.MapOf(view.Decimal, view.Decimal)},
		{Name: "map_of_tuple", Type: view.MapOf(spice, view.TupleOf(view.Text, view.Bigint))},
		{Name: "map_of_user", Type: view.MapOf(view.TupleOf(view.Text, view.Int), dish)},
	}
	var columns []view.Column
	for _, k := range kinds {
		columns = append(columns,
			view.Column{Name: "once_" + k.Name, Type: k.Type, Class: view.WriteOnce},
			view.Column{Name: "revised_" + k.Name, Type: k.Type, Class: view.Revisable})
	}
	return columns
}
