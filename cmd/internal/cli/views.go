package cli

import (
	"fmt"
	"maps"
	"slices"

	"penstock/config"
	"penstock/order"
	"penstock/view"
)

// Views are the program's own views, by name. Others stand in files.
var Views = map[string]view.View{order.View{}.Name(): order.View{}}

func chooseView(c *config.Config) (view.View, error) {
	v, ok := Views[c.View.Name]
	if !ok {
		return nil, Exit(ExitConfig, fmt.Errorf("view.name %q: must be one of this program's views: %q", c.View.Name, slices.Sorted(maps.Keys(Views))))
	}
	return v, nil
}
