from planish.cli import main

main()
