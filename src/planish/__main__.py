from planish.cli.main import main

main()
