// Package webshop records the shop of samples/shop.pcapng.
package webshop

import "github.com/pcapsule/pcapsule/samples/gen/lab"

// Scenarios are the captures of this package.
func Scenarios() []lab.Scenario {
	return []lab.Scenario{
		{Name: "shop", Make: makeShop},
	}
}

// Parts are the servers and clients of this package, by the role that a process plays.
func Parts() map[string]lab.Part {
	return map[string]lab.Part{
		"gateway":       shopGateway,
		"frontend":      shopFrontend,
		"catalogue":     shopCatalogue,
		"payment":       shopPayment,
		"inventory":     shopInventory,
		"auth":          shopAuth,
		"notification":  shopNotification,
		"cards":         shopCards,
		"mail":          shopMail,
		"kubelet":       shopKubelet,
		"shop-customer": shopCustomer,
	}
}
