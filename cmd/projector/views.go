package main

import (
	"fmt"
	"maps"
	"slices"

	"penstock/config"
	"penstock/order"
	"penstock/view"
)

// views are the program's own views, by name. Others stand in files.
var views = map[string]view.View{order.View{}.Name(): order.View{}}

func chooseView(c *config.Config) (view.View, error) {
	v, ok := views[c.View.Name]
	if !ok {
		return nil, &exitError{exitConfig, fmt.Errorf("view.name %q: must be one of this program's views: %q", c.View.Name, slices.Sorted(maps.Keys(views)))}
	}
	return v, nil
}
